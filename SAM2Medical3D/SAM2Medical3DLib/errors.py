"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that says what and how."""
