"""The one error a user ever sees: where it is, what is wrong, what to do."""


def shorten(error: BaseException) -> str:
    """The first line of another library's message, which may have many or none: then the kind of error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class UserError(Exception):
    """Bad input: printed as one line without a traceback, exit status 2.

    Args:
        where: the file (and field) at fault, for example ``config/config.yaml: teacher.lr``.
        problem: what is wrong with it.
        remedy: what the user can do.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        self.where, self.problem, self.remedy = str(where), problem, remedy
        super().__init__(" ".join(f"{where}: {problem}; {remedy}".split()))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Survive the way back from a worker process."""
        return type(self), (self.where, self.problem, self.remedy)
