"""The two ways in which the model says no."""


class CommandError(Exception):
    """An operator's command is refused; the text is the sentence to print."""


class ToolError(Exception):
    """A hook tool fails; text for standard error (without "ERROR "), and the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text, code)
        self.text = text
        self.code = code

    def __str__(self) -> str:
        return self.text
