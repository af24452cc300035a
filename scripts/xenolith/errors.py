"""What ends the command early: one line with the cause and the remedy, and an exit status."""

USAGE = 2  # the user asked for something that cannot be
MACHINE = 125  # the machine under QEMU did not do its part; as containers' tools use it


class Failure(Exception):
    """An error for the user: `cause` says what is wrong, `remedy` what to do about it."""

    def __init__(self, cause: str, remedy: str = "", status: int = 1):
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.status = status

    def line(self) -> str:
        return f"{self.cause}: {self.remedy}" if self.remedy else self.cause


def usage(cause: str, remedy: str = "") -> Failure:
    return Failure(cause, remedy, USAGE)
