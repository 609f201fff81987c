static inline __attribute__((always_inline)) void skb_check(volatile int *p)
{
	if (*p < 0)
		__builtin_trap();
}
