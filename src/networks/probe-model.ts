// A few matrix products and softmaxes: the network that devices are tried and timed with.

/** ONNX bytes of `x[n,n] -> y[n,n]`, made by models/goldens/networks/make_networks.py. */
export const probeModel = Uint8Array.from(
  Buffer.from(
    'CAo6pwMKEgoBeAoBeBICbTAiBk1hdE11bAonCgJtMBICcDAiB1NvZnRtYXgqFAoEYXhpcxj///////////8BoAECChMKAnAwCgF4EgJtMSIGTWF0TXVsCicKAm0xEgJwMSIHU29mdG1heCoUCgRheGlzGP///////////wGgAQIKEwoCcDEKAXgSAm0yIgZNYXRNdWwKJwoCbTISAnAyIgdTb2Z0bWF4KhQKBGF4aXMY////////////AaABAgoTCgJwMgoBeBICbTMiBk1hdE11bAonCgJtMxICcDMiB1NvZnRtYXgqFAoEYXhpcxj///////////8BoAECChMKAnAzCgF4EgJtNCIGTWF0TXVsCicKAm00EgJwNCIHU29mdG1heCoUCgRheGlzGP///////////wGgAQIKEwoCcDQKAXgSAm01IgZNYXRNdWwKJgoCbTUSAXkiB1NvZnRtYXgqFAoEYXhpcxj///////////8BoAECEgVwcm9iZVoVCgF4EhAKDggBEgoKAxIBbgoDEgFuYhUKAXkSEAoOCAESCgoDEgFuCgMSAW5CBAoAEBQ=',
    'base64',
  ),
);
