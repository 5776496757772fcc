"""An installed app without models or migrations of its own: the cases bring theirs."""
