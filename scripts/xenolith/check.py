"""`./xenolith check`: what Xenolith would do on this machine, before anything is installed.

The work is done by scripts/xenolith_host, which the Debian package carries as xenolith-check.
"""

from xenolith_host import check

DESCRIPTION, EPILOG = check.DESCRIPTION, check.EPILOG
add_arguments, main = check.add_arguments, check.main
