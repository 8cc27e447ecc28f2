"""robopref: teach robots what people prefer.

Importing this package touches no disk, device, network, random state or thread count; its parts
(`robopref.envs`, `.policies`, `.rewards`, `.hardware`, `.data`, `.preferences`, `.align`) are
imported where they are used.
"""

__version__ = "0.1.0"
