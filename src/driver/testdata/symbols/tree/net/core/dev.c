#include <linux/skb.h>

volatile int dev_state;

static __attribute__((noinline)) void cleanup(void)
{
	dev_state = 1;
}

__attribute__((noinline)) void dev_close(void)
{
	cleanup();
	skb_check(&dev_state);
	dev_state = 2;
}
