"""What can go wrong with a pipeline folder that its owner can act on."""


class ExportError(Exception):
    """The pipeline can't be exported; the text says what was expected and what to do."""
