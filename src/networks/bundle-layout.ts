// Where things lie in a bundle, whatever its family.

/** Files that have the same place in every bundle. */
export const bundleFiles = {
  manifest: 'reelspace.json',
  schedulerConfig: 'scheduler/scheduler_config.json',
  tokenizer: 'tokenizer/tokenizer.json',
  tokenizerConfig: 'tokenizer/tokenizer_config.json',
} as const;
