"""stub"""
from local.cli.options import with_screen
from local.cli.rendering import Screen

@with_screen
def command(screen: Screen) -> None:
    """stub"""
