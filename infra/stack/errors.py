"""Errors of the local stack: each says what was found, what was expected and what to do."""


class StackError(Exception):
    """The stack cannot do what it was asked to; the message is for the user."""
