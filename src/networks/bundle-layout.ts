// Where things lie in a bundle, whatever its family.

/** Files that every bundle has at the same place. */
export const bundleFiles = {
  manifest: 'reelspace.json',
  schedulerConfig: 'scheduler/scheduler_config.json',
  tokenizer: 'tokenizer/tokenizer.json',
} as const;
