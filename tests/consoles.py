"""What rich prints, as the plain text of a terminal without colours."""

import io

from rich.console import Console


def printed(renderable, width=200):
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()
