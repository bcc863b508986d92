"""What a run leaves to be looked at: its report, its card, the gallery of all runs, comparisons."""
