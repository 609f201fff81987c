//! What the fake kernel prints when it is unwell, in the formats of 6.12 (and
//! of 6.19 where it says so).

use crate::script::Splat;

const HARDWARE: &str =
    "Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.3-debian-1.16.3-2 04/01/2014";

const REGISTERS: &str = "\
RSP: 0018:ffffc900001d7d30 EFLAGS: 00010246
RAX: 0000000000000000 RBX: ffff888004a3c000 RCX: 0000000000000001
RDX: 0000000000000001 RSI: ffffffff82411a5b RDI: 00000000ffffffff
RBP: ffff888004a3c0d8 R08: 0000000000000000 R09: 0000000000000000
R10: 0000000000000000 R11: 0000000000000000 R12: ffff888004a3c100
R13: ffffc900001d7d80 R14: dead000000000122 R15: ffff888004a3c0d8
FS:  0000000000000000(0000) GS:ffff88803ec00000(0000) knlGS:0000000000000000
CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
CR2: 0000000000000008 CR3: 000000000442c001 CR4: 0000000000770ef0";

const CLEANUP_NET: &str = " cleanup_net+0x1d3/0x4b0
 process_one_work+0x174/0x330
 worker_thread+0x256/0x390
 ? __pfx_worker_thread+0x10/0x10
 kthread+0xcf/0x100
 ret_from_fork+0x31/0x50
 ret_from_fork_asm+0x1a/0x30
 </TASK>";

const END: &str = "---[ end trace 0000000000000000 ]---";

/// The text of a report.
pub(crate) fn text(splat: Splat, release: &str) -> String {
    let worker = format!(
        "CPU: 0 UID: 0 PID: 33 Comm: kworker/u8:2 Not tainted {release} #1\n{HARDWARE}\nWorkqueue: netns cleanup_net"
    );
    let task = format!("CPU: 1 UID: 0 PID: 118 Comm: kregress Not tainted {release} #1\n{HARDWARE}");
    match splat {
        Splat::Warning => format!(
            "------------[ cut here ]------------\n\
             namespace still has 2 sysctl tables\n\
             WARNING: CPU: 0 PID: 33 at net/core/net_namespace.c:679 cleanup_net+0x1d3/0x4b0\n\
             Modules linked in:\n{worker}\n\
             RIP: 0010:cleanup_net+0x1d3/0x4b0\n\
             Code: e8 0b a6 5c ff 0f 0b eb 9a 66 0f 1f 84 00 00 00 00 00 <0f> 0b e9 4f fe ff ff\n\
             {REGISTERS}\nCall Trace:\n <TASK>\n ? __warn+0x81/0x130\n{CLEANUP_NET}\n{END}"
        ),
        Splat::WarningNewOrder => format!(
            "------------[ cut here ]------------\n\
             WARNING: net/core/net_namespace.c:679 at cleanup_net+0x1d3/0x4b0, CPU#0: kworker/u8:2/33\n\
             Modules linked in:\n{worker}\n\
             RIP: 0010:cleanup_net+0x1d3/0x4b0\n{REGISTERS}\nCall Trace:\n <TASK>\n{CLEANUP_NET}\n{END}"
        ),
        Splat::Bug => format!(
            "------------[ cut here ]------------\n\
             kernel BUG at net/core/dev.c:11721!\n\
             Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n{worker}\n\
             RIP: 0010:free_netdev+0x1a5/0x1c0\n{REGISTERS}\nCall Trace:\n <TASK>\n \
             netdev_run_todo+0x2ea/0x5a0\n default_device_exit_batch+0x2ca/0x320\n{CLEANUP_NET}\n{END}"
        ),
        Splat::NullDereference => format!(
            "BUG: kernel NULL pointer dereference, address: 0000000000000008\n\
             #PF: supervisor read access in kernel mode\n\
             #PF: error_code(0x0000) - not-present page\n\
             PGD 0 P4D 0\nOops: Oops: 0000 [#1] PREEMPT SMP NOPTI\n{worker}\n\
             RIP: 0010:fib_rules_unregister+0x42/0x160\n{REGISTERS}\nCall Trace:\n <TASK>\n \
             ? __die+0x23/0x70\n fib4_rules_exit+0x26/0x60\n fib_net_exit_batch+0xa5/0x140\n{CLEANUP_NET}\n{END}\n\
             RIP: 0010:fib_rules_unregister+0x42/0x160\n{REGISTERS}"
        ),
        Splat::Lockdep => format!(
            "\n======================================================\n\
             WARNING: possible circular locking dependency detected\n{release} #1 Not tainted\n\
             ------------------------------------------------------\n\
             kregress/118 is trying to acquire lock:\n\
             ffffffff83d2b8a8 (rtnl_mutex){{+.+.}}-{{4:4}}, at: register_netdevice_notifier+0x1d/0xb0\n\n\
             but task is already holding lock:\n\
             ffffffff83d2a550 (pernet_ops_rwsem){{++++}}-{{4:4}}, at: register_netdevice_notifier+0x16/0xb0\n\n\
             stack backtrace:\n{task}\nCall Trace:\n <TASK>\n dump_stack_lvl+0x7b/0xb0\n \
             print_circular_bug.cold+0x178/0x1be\n check_noncircular+0x15a/0x170\n \
             __lock_acquire+0x13b6/0x2240\n lock_acquire+0xc4/0x2d0\n __mutex_lock+0xa2/0xd90\n \
             register_netdevice_notifier+0x1d/0xb0\n do_init_module+0x6a/0x210\n </TASK>"
        ),
        Splat::Kasan => format!(
            "==================================================================\n\
             BUG: KASAN: slab-use-after-free in tcp_zerocopy_vm_insert_batch+0x1d6/0x330\n\
             Read of size 8 at addr ffff88800512f248 by task kregress/118\n\n{task}\nCall Trace:\n <TASK>\n \
             dump_stack_lvl+0x53/0x70\n print_report+0xce/0x610\n kasan_report+0xce/0x100\n \
             tcp_zerocopy_vm_insert_batch+0x1d6/0x330\n tcp_zerocopy_receive+0xa11/0x14b0\n \
             do_tcp_getsockopt+0x8a0/0x1590\n </TASK>\n\nAllocated by task 110:\n \
             kasan_save_stack+0x1e/0x40\n vm_area_alloc+0x1d/0xb0\n\n\
             =================================================================="
        ),
        Splat::HungTask => format!(
            "INFO: task kworker/u8:2:33 blocked for more than 61 seconds.\n      Not tainted {release} #1\n\
             \"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.\n\
             task:kworker/u8:2    state:D stack:0     pid:33    tgid:33    ppid:2      flags:0x00004000\n\
             Workqueue: netns cleanup_net\nCall Trace:\n <TASK>\n __schedule+0x3d5/0xb10\n schedule+0x24/0xc0\n \
             schedule_timeout+0x8f/0xf0\n __wait_for_common+0x8b/0x190\n rcu_barrier+0x2ba/0x3f0\n{CLEANUP_NET}"
        ),
        Splat::NetdevLeak => {
            let line = "unregister_netdevice: waiting for veth7 to become free. Usage count = 2\n";
            line.repeat(3)
        }
        Splat::Harmless => format!(
            "FAULT_INJECTION: forcing a failure.\nname failslab, interval 1, probability 0, space 0, times 0\n{task}\n\
             Call Trace:\n <TASK>\n should_fail_ex+0x134/0x150\n copy_net_ns+0x63/0x290\n </TASK>\n\
             TCP: request_sock_TCP: Possible SYN flooding on port [::]:8080. Sending cookies.\n\
             TCP: out of memory -- consider tuning tcp_mem\n\
             kregress[118]: segfault at 0 ip 0000000000401963 sp 00007ffdcdc82b10 error 6 in kregress[401000+79000]"
        ),
    }
}

/// The text of a panic of this cause.
pub(crate) fn panic(cause: &str, release: &str) -> String {
    format!(
        "Kernel panic - not syncing: {cause}\n\
         CPU: 0 UID: 0 PID: 1 Comm: init Not tainted {release} #1\n{HARDWARE}\n\
         Call Trace:\n <TASK>\n dump_stack_lvl+0x53/0x70\n panic+0x2e3/0x300\n \
         net_ns_barrier+0x2c/0x40\n{CLEANUP_NET}\nKernel Offset: disabled"
    )
}
