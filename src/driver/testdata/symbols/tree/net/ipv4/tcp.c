extern volatile int dev_state;

static __attribute__((noinline)) void cleanup(void)
{
	for (int i = 0; i < 3; i++)
		dev_state += i * dev_state;
	dev_state ^= 0x5a5a5a5a;
	dev_state *= 17;
}

static __attribute__((noinline)) void release(void)
{
	dev_state = 3;
}

__attribute__((noinline)) void tcp_close(void)
{
	cleanup();
	release();
}
