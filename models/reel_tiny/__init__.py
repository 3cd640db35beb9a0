"""reel-tiny: the bundled model of reelspace, its data, training and export."""
