// Both packages are optional dependencies: an install without them must still compile.

declare module 'ffmpeg-static' {
  const path: string | null;
  export = path;
}

declare module '@ffmpeg-installer/ffmpeg' {
  const installed: { path: string; version: string; url: string };
  export = installed;
}
