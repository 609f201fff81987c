extern volatile int dev_state;


static __attribute__((noinline)) void release(void)
{
	dev_state = 3;
}

__attribute__((noinline)) void udp_close(void)
{
	release();
}
