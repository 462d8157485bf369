"""Names that nothing else has."""

__all__ = ["new_id"]


def new_id() -> str:
    """A random UUID as text."""
    import uuid

    return str(uuid.uuid4())
