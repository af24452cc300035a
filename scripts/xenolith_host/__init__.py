"""What runs on a host that Xenolith is, or is to be, installed on: nothing but Python's standard library.

The package xenolith-hypervisor carries these files as they are; `./xenolith check` uses them from here.
"""
