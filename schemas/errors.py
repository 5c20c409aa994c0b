"""The error that is meant for a person."""


class UserError(Exception):
    """Something outside the program is wrong: a setting, a file, a broker.

    The message is one sentence that says what is wrong and what to do; the front desk prints it and exits with code 2.
    """
