// What a file holds, whatever tells it.

/** What a media file holds. */
export interface MediaInfo {
  /** Size as displayed: rotation applied, pixels made square. */
  width: number;
  height: number;
  /** Size as stored. */
  codedWidth: number;
  codedHeight: number;
  /** Degrees clockwise by which the stored picture is turned for display: 0, 90, 180 or 270. */
  rotation: number;
  /** Frames a second, on average when they vary. 1 for a still image. */
  frameRate: number;
  /** Frames a second where they follow each other fastest; undefined for a rate that doesn't vary much. */
  peakFrameRate: number | undefined;
  /** Of the longest stream, sound included. Undefined when the file doesn't say; 0 for a still image. */
  durationSeconds: number | undefined;
  hasAudio: boolean;
  /** ffmpeg's name of the first sound codec, such as `aac`. */
  audioCodec: string | undefined;
  isStill: boolean;
  hasAlpha: boolean;
  /** ffmpeg's name of the picture codec, such as `h264`, or the format of an image. */
  codec: string;
  /** YUV matrix as tagged, such as `bt709`. Undefined when untagged or RGB. */
  colorMatrix: string | undefined;
}
