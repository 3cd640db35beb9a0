// The public API of reelspace.

export { decode } from '../pipelines/decode.js';
export { extend } from '../pipelines/extend.js';
export { imageToVideo } from '../pipelines/image-to-video.js';
export { pipelines } from '../pipelines/index.js';
export { inpaint } from '../pipelines/inpaint.js';
export { morph } from '../pipelines/morph.js';
export { reconstruct } from '../pipelines/reconstruct.js';
export { textToVideo } from '../pipelines/text-to-video.js';
export { videoToVideo } from '../pipelines/video-to-video.js';
export type { Pipeline } from './diffusion/pipeline.js';
export { type Preview, type Progress, type RunContext, type Stage, StageClock, stages } from './diffusion/progress.js';
export { saveClip } from './diffusion/save.js';
export { CallCount } from './diffusion/step-cache.js';
export {
  BundleError,
  CancelledError,
  DeviceError,
  FfmpegError,
  FfmpegNotFoundError,
  FormatError,
  HubError,
  InvalidOptionError,
  JobError,
  MediaError,
  NetworkError,
  OutputError,
  ReelspaceError,
} from './errors.js';
export { findPulled, listPulled, type PulledListing, removePulled } from './hub/cache.js';
export { type PulledModel, type PullOptions, type PullProgress, pullModel } from './hub/pull.js';
export { parseRepository, type Repository } from './hub/repository.js';
export type { JobFailure, JobProgress, JobRecord, JobRequest, JobState } from './jobs/job.js';
export { type JobContext, JobQueue, type JobQueueOptions } from './jobs/job-queue.js';
export type { Clip, Glide } from './media/clip.js';
export { type FfmpegBinary, findFfmpeg } from './media/ffmpeg.js';
export type { Frame } from './media/frame.js';
export type { MediaInfo } from './media/media-info.js';
export { readSettings } from './media/metadata.js';
export type { VideoWriterOptions } from './media/output-target.js';
export { probe } from './media/probe.js';
export { readFrames } from './media/read-frames.js';
export type { ReadFramesOptions } from './media/read-options.js';
export { createVideoWriter, type VideoWriter, type WrittenVideo } from './media/write-frames.js';
export { listModels, type ModelListing } from './networks/bundle.js';
export { type DeviceListing, listDevices } from './networks/device.js';
export { type LoadOptions, loadModel } from './networks/load-model.js';
export type { Manifest } from './networks/manifest.js';
export type { Device, DeviceChoice, LoraChoice, LoraOptions, MemoryUse, MergedLora, Model } from './networks/model.js';
export { createScheduler, type SchedulerName, schedulerNames, withScheduler } from './schedulers/create-scheduler.js';
export type { Scheduler } from './schedulers/scheduler.js';
export type { Tensor } from './tensor/tensor.js';
