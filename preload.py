"""Command line options of hosts that dropped them."""


def preload(parser):
    if "--hypernetwork-dir" not in parser._option_string_actions:
        parser.add_argument("--hypernetwork-dir", type=str, default=None, help="hypernetwork directory")
