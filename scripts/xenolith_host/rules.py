"""What Xenolith makes of a machine: findings, each with how much it matters, and the verdict over them."""

from dataclasses import dataclass

from .facts import Facts

# Of the hypervisor (a test holds them against hv/).
MAX_CPUS = 64
MAX_MEMORY_TIB = 5
KERNEL_PACKERS = {"none", "xz", "gzip", "zstd", "lz4"}
LEAST_MEMORY, FAIR_MEMORY = 768, 2048  # MiB
LEAST_BOOT_ROOM = 4096  # KiB: the image, and a new menu beside the old one
DEBIAN = "debian 12"

GOOD, NOTE, RESTRICTION, OBSTACLE = "good", "note", "restriction", "obstacle"
VERDICTS = {0: "Xenolith can run on this machine", 1: "Xenolith can run on this machine, with restrictions",
            2: "Xenolith cannot run on this machine as it is"}

WILL = "Debian's kernel as Domain 0 with all of the machine's devices, and 64-bit PV guests on disks and bridges of Domain 0"
# On any machine, so far; README.md has it in full.
WILL_NOT = ["HVM, PVH and 32-bit guests", "save, restore and migration", "PCI passthrough: IOMMUs are not used",
            "suspend to RAM, CPU hot-plug, frequency and idle-state control", "microcode updates, machine-check handling"]
TRIED = "It has run in emulators only: on a real machine expect to be the first."


@dataclass
class Finding:
    area: str
    level: str
    text: str


def findings(f: Facts) -> list[Finding]:
    out = []
    for area, rule in (("CPU", _cpu), ("firmware", _firmware), ("memory", _memory), ("IOMMU", _iommu), ("disks", _disks),
                       ("network", _nics), ("kernel", _kernels), ("boot", _boot), ("system", _system)):
        out += [Finding(area, level, text) for level, text in rule(f)]
    return out


def status(found: list[Finding]) -> int:
    levels = {x.level for x in found}
    return 2 if OBSTACLE in levels else 1 if RESTRICTION in levels else 0


def _cpu(f: Facts):
    yield GOOD, f"{f.cpus} CPUs: {f.model}"
    for flag, name in (("lm", "64-bit mode"), ("nx", "no-execute pages (NX)")):
        if flag not in f.flags:
            yield OBSTACLE, f"the CPU has no {name}; if the firmware has switched it off, switch it on"
    if f.cpus > MAX_CPUS:
        yield RESTRICTION, f"{f.cpus} CPUs: {MAX_CPUS} will be used, the others stay off"
    if f.under == "xen":
        yield NOTE, "this is a domain of a running Xen, which hides some of the CPU; started without it, Linux tells more"
    names = (("smep", "SMEP"), ("smap", "SMAP"), ("x2apic", "x2APIC"), ("nonstop_tsc", "invariant TSC"))
    there = [name for flag, name in names if flag in f.flags]
    missing = [name for flag, name in names if flag not in f.flags and flag != "nonstop_tsc"]
    if there:
        yield GOOD, f"{', '.join(there)}: used"
    if missing:
        yield NOTE, f"no {', '.join(missing)}: Xenolith does without"
    if not {"constant_tsc", "nonstop_tsc"} <= f.flags and f.under != "xen":
        yield RESTRICTION, "no invariant TSC: guests are not promised a steady clock and read the time more slowly"
    if f.meltdown:
        yield NOTE, "the CPU has Meltdown: PV guests run with isolated page tables, and hypercalls cost more"
    how = {"svm": "AMD's SVM", "vmx": "Intel's VMX"}
    virtual = [name for flag, name in how.items() if flag in f.flags]
    yield NOTE, (f"{virtual[0]} is there, and not used yet: PV guests only" if virtual else
                 "no hardware virtualisation: PV guests do not need it")


def _firmware(f: Facts):
    if f.uefi and f.uefi_bits != 64:
        yield OBSTACLE, f"UEFI of {f.uefi_bits} bits: Xenolith needs a BIOS or a 64-bit UEFI"
    else:
        yield GOOD, "UEFI: booted by GRUB, as multiboot 2" if f.uefi else "BIOS: booted by GRUB, as multiboot 2"
    if f.secure_boot:
        yield OBSTACLE, "Secure Boot is on: Xenolith is not signed and GRUB refuses it; switch it off in the firmware's settings"
    # Without permission to look, nothing can be said: Linux runs, so most machines have them.
    if f.tables and "APIC" not in f.tables:
        yield OBSTACLE, "ACPI has no MADT table: CPUs and interrupts cannot be found; switch ACPI on in the firmware's settings"
    if f.tables and not {"HPET", "FACP"} & f.tables:
        yield RESTRICTION, "no HPET and no ACPI timer: the clock is not corrected"


def _memory(f: Facts):
    text = f"{f.memory} MiB" + (f" in {f.nodes} NUMA nodes" if f.nodes > 1 else "")
    if f.memory < LEAST_MEMORY:
        yield OBSTACLE, f"{text}: at least {LEAST_MEMORY} MiB are needed"
    elif f.memory < FAIR_MEMORY:
        yield RESTRICTION, f"{text}: enough for Domain 0 and very small guests"
    elif f.memory > MAX_MEMORY_TIB << 20:
        yield RESTRICTION, f"{text}: {MAX_MEMORY_TIB} TiB will be used"
    else:
        yield GOOD, text


def _iommu(f: Facts):
    kind = "Intel's VT-d" if "DMAR" in f.tables else "AMD-Vi" if "IVRS" in f.tables else ""
    yield NOTE, f"{kind} is there, and not used: no PCI passthrough" if kind else "none that the firmware tells of; Xenolith would not use it"


def _devices(devices, what: str, none: str):
    for d in devices:
        text = f"{d.name}{f' ({d.about})' if d.about else ''} by {d.driver or 'a virtual bus'}"
        if d.bypasses_dma:
            yield RESTRICTION, (f"{text}: a virtio device without IOMMU platform support does not work under Xen or Xenolith "
                                "(QEMU: iommu_platform=on,disable-legacy=on)")
        elif d.wireless:
            yield RESTRICTION, f"{text}: Wi-Fi cannot be put into a bridge; guests need routing or NAT"
        elif d.driver == "no driver":
            yield RESTRICTION, f"{text}: Linux has no driver for it, so Domain 0 will not use it either"
        else:
            yield GOOD, f"{text}: Domain 0's Linux drives it, as it does now"
    if not devices:
        yield NOTE, none


def _disks(f: Facts):
    yield from _devices(f.disks, "disk", "none found")


def _nics(f: Facts):
    yield from _devices(f.nics, "NIC", "no NIC found: guests can talk to Domain 0 only")


def _kernels(f: Facts):
    good = [k for k in f.kernels if k.dom0 and k.packed in KERNEL_PACKERS | {"?"}]
    for k in f.kernels:
        level = NOTE if good else OBSTACLE
        if k.dom0 is None:
            yield NOTE, f"{k.version}: there is no /boot/config-{k.version} to tell whether it can be Domain 0"
        elif not k.dom0:
            yield level, f"{k.version} is built without CONFIG_XEN_PV_DOM0 and cannot be Domain 0"
        elif k.packed not in KERNEL_PACKERS | {"?"}:
            yield level, f"{k.version} is packed with {k.packed}, which Xenolith does not unpack"
        else:
            yield GOOD, f"{k.version} can be Domain 0"
    if not f.kernels:
        yield OBSTACLE, "no /boot/vmlinuz-*: install linux-image-amd64"


def _boot(f: Facts):
    if not f.grub:
        yield OBSTACLE, "no /boot/grub/grub.cfg: Xenolith's package needs GRUB (grub-pc or grub-efi-amd64)"
    if f.boot_free is not None and f.boot_free < LEAST_BOOT_ROOM:
        yield OBSTACLE, f"/boot has {f.boot_free} KiB left, and {LEAST_BOOT_ROOM} are needed: remove old kernels"
    elif f.boot_free is not None:
        yield GOOD, f"/boot has {f.boot_free // 1024} MiB left"


def _system(f: Facts):
    if f.release != DEBIAN and not f.release.startswith(DEBIAN + "."):
        yield RESTRICTION, f"{f.release}: the package is for Debian 12; `./xenolith image` makes a USB stick that boots without it"
    elif f.tools:
        yield GOOD, "Debian 12 with Xen 4.17's tools"
    else:
        yield NOTE, "Debian 12; Xen 4.17's tools are to be installed (xen-utils-4.17)"
    if f.saves:
        yield RESTRICTION, ("/etc/default/xendomains saves guests when the host goes down, which Xenolith does not do yet: "
                            "set XENDOMAINS_SAVE= there, and they are shut down instead")
