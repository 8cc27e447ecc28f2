"""Where people compare: the web tool, and the clips that they compare by."""
