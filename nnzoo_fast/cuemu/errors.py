"""What can be wrong before a kernel runs."""


class UsageError(Exception):
    """A file, kernel, launch or argument that can't be; the message is one line that says which and what would do."""


class CompileError(Exception):
    """The compiler refuses; the message is the compiler's, with the user's file and lines."""
