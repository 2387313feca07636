"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says what and how."""


def clear_sentence(error: Exception) -> str:
    """An error's sentence, also when a worker process put its traceback before it."""
    return str(error).strip().splitlines()[-1].split("Error: ", 1)[-1]
