"""By way of GRUB from an ISO: by BIOS, and by UEFI with what its firmware goes on to do for Domain 0."""

import re
import shutil

from framework import Suite, expect
from xenolith import iso
from xenolith.qemu import OVMF_VARIABLES, Machine

KERNEL_ARGS = "xenolith.nodemo xenolith.nodisk xenolith.control=ttyS1"


def _medium(folder, hypervisor):
    """What `./xenolith image` writes, but for Domain 0's command line."""
    machine = Machine(hypervisor.image, not hypervisor.is_xenolith, kernel_args=KERNEL_ARGS)
    iso.make(folder / "boot.iso", hypervisor.image, [iso.Entry("test", machine.boot_line(), machine.kernel_line())], seconds=0)
    return {"medium": folder / "boot.iso", "data_disk": None}


def _with_uefi(folder, hypervisor):
    shutil.copyfile(OVMF_VARIABLES, folder / "variables.fd")
    # The screen comes from a graphics card's own firmware.
    return {**_medium(folder, hypervisor), "uefi_variables": folder / "variables.fd", "extra": ["-device", "VGA"]}


bios = Suite("bios", prepare=_medium)
uefi = Suite("uefi", prepare=_with_uefi)


def domain_0_answers(host):
    expect("Domain-0" in host.run("xl list"), "xl list does not show Domain-0")
    expect(host.run("nproc").strip() == str(host.session.machine.cpus), "not all CPUs are there")
    host.run("ping -c 1 -W 5 10.0.2.2")


for suite in (bios, uefi):
    suite.check(domain_0_answers)


@uefi.check
def kernel_finds_the_firmware(host):
    log = host.run("dmesg")
    expect(re.search(r"efi: EFI v2\.\d+ by EDK II", log), "Domain 0's kernel was not told of EFI")
    expect("ACPI: RSDP" in log, "Domain 0's kernel has not found ACPI's tables")
    expect(host.run("cat /sys/firmware/efi/fw_platform_size").strip() == "64", "not the 64-bit firmware")


@uefi.check
def variables_are_read_and_written(host):
    """Each is a call of a run-time service in the firmware's own memory."""
    host.run("modprobe efivarfs; mount -t efivarfs efivarfs /sys/firmware/efi/efivars")
    names = host.run("ls /sys/firmware/efi/efivars")
    expect("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c" in names, f"variables: {names[:500]}")
    file = "/sys/firmware/efi/efivars/XenolithTest-12345678-1234-1234-1234-123456789abc"
    for text in ("first", "another one"):
        host.run(f"[ ! -e {file} ] || chattr -i {file}; printf '\\7\\0\\0\\0{text}' > {file}")
        got = host.run(f"tail -c +5 {file}")
        expect(got == text, f"written {text!r}, read {got!r}")
    host.run(f"chattr -i {file}; rm {file}")
    expect("XenolithTest" not in host.run("ls /sys/firmware/efi/efivars"), "a variable that was taken away is there")


@uefi.check
def floating_point_survives_the_firmware(host):
    """Firmware uses vector registers as it likes; a program beside it must not notice."""
    host.run("for i in $(seq 30); do cat /sys/firmware/efi/efivars/BootOrder-* > /dev/null; done & "
             "a=$(awk 'BEGIN { for (i = 1; i < 300000; i++) s += sqrt(i) / 3; printf \"%.6f\", s }'); "
             "b=$(awk 'BEGIN { for (i = 1; i < 300000; i++) s += sqrt(i) / 3; printf \"%.6f\", s }'); wait; [ $a = $b ]")


@uefi.check
def kernel_has_the_screen(host):
    expect(host.run("cat /sys/class/graphics/fb0/name").strip(), "no frame buffer")
    expect(re.search(r"efifb|simple", host.run("dmesg | grep -i -E 'efifb|simple-framebuffer|simpledrm'; true")), "not EFI's")
