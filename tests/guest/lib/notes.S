// The notes by which a Xen-ABI hypervisor finds its way into this image (<xen/elfnote.h>).
// The second image (LINUX_NOTES) asks for what Debian's kernel asks for: p2m outside the initial
// mapping and the module handed over by frame number; and, unlike it, for a hypercall page.
#define __ASSEMBLY__ 1
#include <xen/elfnote.h>

.macro note type, value:vararg
    .pushsection .note.Xen, "a", @note
    .balign 4
    .long 4, 2f - 1f, \type
    .asciz "Xen"
1:  \value
2:  .balign 4, 0
    .popsection
.endm

note XEN_ELFNOTE_GUEST_OS, .asciz "xenolith-test"
note XEN_ELFNOTE_GUEST_VERSION, .asciz "1"
note XEN_ELFNOTE_LOADER, .asciz "generic"
note XEN_ELFNOTE_XEN_VERSION, .asciz "xen-3.0"
note XEN_ELFNOTE_VIRT_BASE, .quad virt_base
note XEN_ELFNOTE_ENTRY, .quad _start
note XEN_ELFNOTE_PAE_MODE, .asciz "yes"
#ifdef LINUX_NOTES
note XEN_ELFNOTE_HYPERCALL_PAGE, .quad hypercall_page
note XEN_ELFNOTE_INIT_P2M, .quad 0x8000000000
note XEN_ELFNOTE_MOD_START_PFN, .long 1
note XEN_ELFNOTE_FEATURES, .asciz "!writable_page_tables|pae_pgdir_above_4gb"
note XEN_ELFNOTE_SUPPORTED_FEATURES, .long 0x8c7
note XEN_ELFNOTE_L1_MFN_VALID, .quad 1, 1
#else
note XEN_ELFNOTE_PADDR_OFFSET, .quad 0
note XEN_ELFNOTE_FEATURES, .asciz "!writable_page_tables|pae_pgdir_above_4gb"
#endif

    .section .note.GNU-stack, "", @progbits
