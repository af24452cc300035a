"""xenolith-try: which entry of GRUB's menu it takes, and where it refuses."""

import argparse
import contextlib
import io
import unittest
from unittest import mock

from xenolith_host import menu, rules, trial

# What grub-mkconfig writes, shortened.
MENU = r"""
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
fi
function savedefault {
  if [ -z "${boot_once}" ]; then
    save_env saved_entry
  fi
}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-UUID' {
	linux	/boot/vmlinuz-6.1.0-56-amd64 root=UUID=1 ro
	initrd	/boot/initrd.img-6.1.0-56-amd64
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-UUID' {
	menuentry 'Debian GNU/Linux, with Linux 6.1.0-56-amd64' --class debian {
		linux	/boot/vmlinuz-6.1.0-56-amd64 root=UUID=1 ro
	}
}
menuentry 'Debian GNU/Linux, with Xen hypervisor' --class debian $menuentry_id_option 'xen-gnulinux-simple-UUID' {
        if [ "$grub_platform" = "pc" -o "$grub_platform" = "" ]; then
            xen_rm_opts=
        fi
	multiboot2	/boot/XEN placeholder   ${xen_rm_opts}
	module2	/boot/vmlinuz-6.1.0-56-amd64 placeholder root=UUID=1 ro
	module2	--nounzip   /boot/initrd.img-6.1.0-56-amd64
}
submenu 'Advanced options for Debian GNU/Linux (with Xen hypervisor)' $menuentry_id_option 'gnulinux-advanced-UUID' {
	submenu 'Xen hypervisor, version xenolith-0.1' $menuentry_id_option 'xen-hypervisor-xenolith-0.1-UUID' {
		menuentry 'It'\''s a >, with Xen xenolith-0.1 and Linux 6.1.0-56-amd64' --class debian {
			multiboot2	/boot/xenolith-0.1.gz placeholder   ${xen_rm_opts}
			module2	/boot/vmlinuz-6.1.0-56-amd64 placeholder root=UUID=1 ro
		}
		menuentry 'Debian GNU/Linux, with Xen xenolith-0.1 and Linux 6.1.0-50-amd64' --class debian {
			multiboot2	/boot/xenolith-0.1.gz placeholder   ${xen_rm_opts}
			module2	/boot/vmlinuz-6.1.0-50-amd64 placeholder root=UUID=1 ro
		}
	}
}
"""
ONLY = MENU.replace("/boot/XEN", "/boot/xenolith-0.1.gz")
BESIDE = MENU.replace("/boot/XEN", "/boot/xen-4.17-amd64.gz")
INNER = "Advanced options for Debian GNU/Linux (with Xen hypervisor)>Xen hypervisor, version xenolith-0.1>"


class Menus(unittest.TestCase):
    def test_entries_have_their_submenus_and_files(self):
        found = menu.entries(ONLY)
        self.assertEqual([len(e.path) for e in found], [1, 2, 1, 3, 3])
        self.assertEqual(found[2].files, ["/boot/xenolith-0.1.gz", "/boot/vmlinuz-6.1.0-56-amd64", "/boot/initrd.img-6.1.0-56-amd64"])
        self.assertEqual(found[0].files[0], "/boot/vmlinuz-6.1.0-56-amd64")

    def test_the_entry_that_names_xenolith_is_taken(self):
        for text in (ONLY, BESIDE):
            entry = trial.choose(menu.entries(text), None)
            self.assertEqual(entry.name(), INNER + "It's a >>, with Xen xenolith-0.1 and Linux 6.1.0-56-amd64")

    def test_a_kernel_may_be_chosen(self):
        entry = trial.choose(menu.entries(ONLY), "6.1.0-50-amd64")
        self.assertTrue(entry.name().endswith("6.1.0-50-amd64"))
        with self.assertRaisesRegex(trial.Refused, "there are 6.1.0-50-amd64, 6.1.0-56-amd64"):
            trial.choose(menu.entries(ONLY), "6.1.0-5")

    def test_without_submenus(self):
        """GRUB_DISABLE_SUBMENU: all on the first page."""
        flat = "menuentry 'D, with Xen xenolith-0.1 and Linux 6' {\n\tmultiboot2 /xenolith-0.1.gz x\n\tmodule2 /vmlinuz-6 x\n}\n"
        self.assertEqual(trial.choose(menu.entries(flat), None).name(), "D, with Xen xenolith-0.1 and Linux 6")

    def test_no_entry(self):
        for text in ("", "}\n}\n", MENU.partition("menuentry 'Debian GNU/Linux, with Xen hyp")[0], "menuentry 'unclosed {\n"):
            with self.assertRaisesRegex(trial.Refused, "no entry for Xenolith"):
                trial.choose(menu.entries(text), None)


class Refusals(unittest.TestCase):
    GOOD = [rules.Finding("CPU", rules.GOOD, "fine"), rules.Finding("CPU", rules.RESTRICTION, "slow")]

    def test_good_is_let_through(self):
        trial.may_try(ONLY, {"ext2"}, self.GOOD, False)

    def test_a_menu_that_knows_no_one_time_entry(self):
        with self.assertRaisesRegex(trial.Refused, "one-time"):
            trial.may_try(ONLY.replace("save_env next_entry", ""), {"ext2"}, self.GOOD, False)

    def test_where_grub_cannot_write(self):
        for kind in ("lvm", "diskfilter", "btrfs", "zfs"):
            with self.assertRaisesRegex(trial.Refused, "every time"):
                trial.may_try(ONLY, {"ext2", kind}, self.GOOD, True)

    def test_a_machine_on_which_it_cannot_run(self):
        bad = self.GOOD + [rules.Finding("firmware", rules.OBSTACLE, "Secure Boot is on")]
        with self.assertRaisesRegex(trial.Refused, "Secure Boot is on"):
            trial.may_try(ONLY, {"ext2"}, bad, False)
        trial.may_try(ONLY, {"ext2"}, bad, True)


class Cancel(unittest.TestCase):
    def test_without_an_entry_in_the_menu(self):
        """Xenolith's entry may be gone by then: what was chosen is taken back all the same."""
        options = argparse.Namespace(show=False, cancel=True, kernel=None, force=False)
        with mock.patch.object(trial, "_menu_text", return_value=""), mock.patch.object(trial, "_run") as run, \
                mock.patch("os.geteuid", return_value=0), contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(trial._main(options), 0)
        self.assertEqual(run.call_args.args[0][2:], ["unset", "next_entry"])
