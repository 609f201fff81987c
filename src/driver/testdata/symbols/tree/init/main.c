void dev_close(void);
void tcp_close(void);
void udp_close(void);

void start_kernel(void)
{
	dev_close();
	tcp_close();
	udp_close();
}
