// Noise levels of training: how much of a clip is left at each timestep of a variance-preserving diffusion.
//
// Sources: J. Ho et al., "Denoising diffusion probabilistic models" (arXiv 2006.11239), linear betas; A. Nichol and
// P. Dhariwal, "Improved DDPM" (2102.09672), cosine; S. Lin et al., "Common diffusion noise schedules and sample steps
// are flawed" (2305.08891), zero terminal SNR. Rounded to float32 where diffusers' torch code rounds.
import { z } from 'zod';

const { fround } = Math;
const mostTrainSteps = 100_000;
const trainSteps = z.int().min(1).max(mostTrainSteps).default(1000);

/** The field of every scheduler's config that counts training timesteps. */
export const trainStepsField = { num_train_timesteps: trainSteps };

type BetaSchedule = 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';

/** Returns the fields of a config that describe the noise of training, with a class's own defaults. */
export function noiseFields(betaStart = 0.0001, betaEnd = 0.02, betaSchedule: BetaSchedule = 'linear') {
  return {
    ...trainStepsField,
    beta_start: z.number().gt(0).lt(1).default(betaStart),
    beta_end: z.number().gt(0).lt(1).default(betaEnd),
    beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default(betaSchedule),
    trained_betas: z.array(z.number().min(0).max(1)).min(1).max(mostTrainSteps).nullish(),
  };
}

/** What `noiseFields` reads. */
export interface NoiseConfig {
  readonly num_train_timesteps: number;
  readonly beta_start: number;
  readonly beta_end: number;
  readonly beta_schedule: BetaSchedule;
  readonly trained_betas?: readonly number[] | null | undefined;
}

/** Returns ᾱ of each training timestep: the share of a clip's variance that is left. */
export function cumulativeAlphas(config: NoiseConfig): number[] {
  return cumulate(betas(config).map((beta) => fround(1 - beta)));
}

function betas(config: NoiseConfig): number[] {
  const { num_train_timesteps: count, beta_start: start, beta_end: end, beta_schedule: schedule } = config;
  if (config.trained_betas) return config.trained_betas.map(fround);
  if (schedule === 'linear') return evenly(start, end, count);
  if (schedule === 'scaled_linear') {
    return evenly(Math.sqrt(start), Math.sqrt(end), count).map((root) => fround(root * root));
  }
  const alphaBar = (time: number) => Math.cos((((time + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  return Array.from({ length: count }, (_, i) => {
    return fround(Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999));
  });
}

/** Returns evenly spaced numbers as torch.linspace rounds them: counted from the nearer end. */
function evenly(start: number, end: number, count: number): number[] {
  const [first, last] = [fround(start), fround(end)];
  const step = count > 1 ? fround(fround(last - first) / (count - 1)) : 0;
  return Array.from({ length: count }, (_, i) => {
    return fround(i < Math.trunc(count / 2) || count === 1 ? first + step * i : last - step * (count - 1 - i));
  });
}

/** Returns the running product, kept in double between roundings as torch.cumprod does. */
function cumulate(alphas: readonly number[]): number[] {
  let product = 1;
  return alphas.map((alpha) => {
    product *= alpha;
    return fround(product);
  });
}

/** Returns ᾱ shifted and stretched so that nothing is left at the last timestep (Lin et al., algorithm 1). */
export function withZeroTerminalSnr(alphas: readonly number[]): number[] {
  const roots = alphas.map((alpha) => fround(Math.sqrt(alpha)));
  const first = roots[0] as number;
  const last = roots.at(-1) as number;
  const stretch = fround(first / fround(first - last));
  return roots.map((root) => {
    const stretched = fround(fround(root - last) * stretch);
    return fround(stretched * stretched);
  });
}

/** Returns the same ᾱ as `withZeroTerminalSnr`, gone through betas and back, as all classes but CogVideoX's do. */
function withZeroTerminalSnrBetas(alphas: readonly number[]): number[] {
  const stretched = withZeroTerminalSnr(alphas);
  const ratios = stretched.map((alpha, i) => (i === 0 ? alpha : fround(alpha / (stretched[i - 1] as number))));
  return cumulate(ratios.map((ratio) => fround(1 - fround(1 - ratio))));
}

/** Returns ᾱ of a config whose `rescale_betas_zero_snr` may be set. */
export function rescaledAlphas(config: NoiseConfig & { readonly rescale_betas_zero_snr: boolean }): number[] {
  const alphas = cumulativeAlphas(config);
  return config.rescale_betas_zero_snr ? withZeroTerminalSnrBetas(alphas) : alphas;
}

/** Returns √((1-ᾱ)/ᾱ): the deviation of the noise on a clip that is not scaled down. Infinity where ᾱ is 0. */
export function sigmaOf(alpha: number): number {
  return fround(Math.sqrt(fround(fround(1 - alpha) / alpha)));
}

/** Returns the sigma of each training timestep, ascending and finite: a last ᾱ of 0 counts as 2^-24, as in diffusers. */
export function trainingSigmas(config: NoiseConfig & { readonly rescale_betas_zero_snr: boolean }): number[] {
  const alphas = rescaledAlphas(config);
  if (config.rescale_betas_zero_snr) alphas[alphas.length - 1] = 2 ** -24;
  return alphas.map(sigmaOf);
}
