"""Every row, and what is to be reached: BASELINE's goal or limit, else that nothing a guest feels is above stock's."""

from table import Row

FELT = 1.0
SMALL, LARGE = 512, 4096  # MiB of the machines between which what goes by the page is taken

TINY = [
    Row("null_hypercall", "null_hypercall", "null hypercall (xen_version)", 0.45),
    Row("unknown_hypercall", "null_hypercall", "unknown hypercall", FELT),
    Row("multicall_one", "multicall", "multicall, one entry", FELT),
    Row("multicall_further", "multicall", "multicall, each further entry", 0.35),
    Row("mmu_update_one", "mmu_update", "mmu_update, one entry", 0.45),
    Row("mmu_update_further_same", "mmu_update", "mmu_update, each further, same value", 0.35),
    Row("mmu_update_further_set_clear", "mmu_update", "mmu_update, each further, set and clear", 0.45),
    Row("update_va_mapping", "update_va_mapping", "update_va_mapping", 0.45),
    Row("set_segment_base", "segments", "set_segment_base", FELT),
    Row("stack_switch", "segments", "stack_switch", FELT),
    Row("evtchn_send", "evtchn_send", "evtchn_send to oneself, upcall masked", 0.45),
    Row("sched_yield", "sched_yield", "sched_yield with nothing else to run", 0.15),
    Row("grant_map_unmap", "grants", "grant map and unmap, own grant", 0.45),
    Row("grant_copy_one", "grants", "grant copy of 64 bytes, one", 0.30),
    Row("grant_copy_further", "grants", "grant copy of 64 bytes, each further", FELT),
    Row("emulated_read_cr0", "emulation", "emulated mov %cr0 through #GP", 0.30),
    Row("iret", "iret", "iret, kernel to kernel", 0.45),
    Row("page_fault_bounced", "page_fault", "#PF bounced to the guest", 0.45),
    Row("page_fault_and_back", "page_fault", "#PF bounced to the guest, and back by iret", 0.45),
    Row("system_call", "system_call", "system call, from user mode to the kernel and back", FELT),
    Row("new_baseptr", "new_baseptr", "new base pointer (CR3), the current one", 0.45),
    Row("new_baseptr_switch", "new_baseptr", "new base pointer (CR3), another one", 0.45),
    Row("pin_table", "pin_table", "L1 table of 512 entries checked and pinned", FELT),
    Row("unpin_table", "pin_table", "L1 table of 512 entries unpinned and dropped", FELT),
    Row("timer_interrupt", "timer", "timer's interrupt, upcall masked", FELT),
    Row("vcpu_switch", "vcpu_switch", "switch between two guests' vCPUs", 0.40),
    Row("event_round", "event_round", "event to another domain, and one back", FELT),
]
# What comes once, and is alike with page-table isolation.
ONCE = [
    Row("boot", "boot", f"boot, {SMALL} MiB, to Domain 0's first instruction", 0.10),
    Row("boot_page", "boot", "boot, each further page of memory", 0.10),
    Row("memory_per_page", "boot", "memory kept for each page", unit="bytes", limit=26),
    Row("memory_fixed", "boot", "memory kept besides", unit="KiB", limit=6 * 1024),
    Row("memory_small", "boot", f"memory kept of {SMALL} MiB", unit="KiB"),
    Row("memory_large", "boot", f"memory kept of {LARGE} MiB", unit="KiB"),
    Row("memory_guest", "guest_memory", "memory kept for a guest of 64 MiB, one vCPU", unit="KiB"),
    Row("lines", "lines", "code without blanks and comments", unit="lines", limit=40_000, quoted=282_000),
]

DEBIAN = [
    Row("unpack", "unpack", "Domain 0's kernel unpacked (XZ)", 1.0),
    Row("boot_to_shell", "", "boot to Domain 0's shell, its kernel not packed", FELT),
    Row("system_call", "loops", "system call (getppid)", FELT),
    Row("signal", "loops", "signal to oneself", FELT),
    Row("mmap", "loops", "mmap and munmap, 16 pages", FELT),
    Row("mmap_touched", "loops", "mmap, write to each of 16 pages, munmap", FELT),
    Row("mprotect", "loops", "mprotect of a page in use", FELT),
    Row("page_fault", "loops", "page fault, a new page", FELT),
    Row("copy_on_write", "loops", "page fault, a page shared since fork", FELT),
    Row("pipe", "loops", "a byte through a pipe to another process and back", FELT),
    Row("fork_exit", "loops", "fork, exit, wait", FELT),
    Row("fork_exec", "loops", "fork, exec, exit, wait", FELT),
    Row("disk_write", "disk", "blkfront, a KiB written (64 KiB a request)", FELT),
    Row("disk_read", "disk", "blkfront, a KiB read (64 KiB a request)", FELT),
    Row("disk_read_page", "disk", "blkfront, a request of 4 KiB", FELT),
    Row("net_send", "network", "netfront, a KiB sent over TCP", FELT),
    Row("net_receive", "network", "netfront, a KiB received over TCP", FELT),
    Row("net_round_trip", "network", "netfront, a byte to Domain 0 and back over TCP", FELT),
    Row("create", "plain", "xl create to the guest's kernel", FELT),
    Row("create_devices", "network", "the same with a disk and a NIC", FELT),
    Row("guest_boot", "plain", "the guest's kernel to its init", FELT),
    Row("destroy", "plain", "xl destroy", FELT),
    Row("destroy_devices", "network", "the same with a disk and a NIC", FELT),
    Row("list", "plain", "xl list", FELT),
]
