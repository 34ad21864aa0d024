"""Front ends of the published designs that hear through a log-mel spectrogram of one channel as ours is."""

from __future__ import annotations

from asc_search.audio.frontend_spec import FrontEnd

# DCASE 2024 baseline; SSCP-Mobile took it over. GZHU's student has a window of 2048 and a hop of 1024 samples.
_BASELINE, _GZHU = FrontEnd(), FrontEnd(window=2048, hop=1024, n_fft=2048)

FRONTENDS: dict[str, FrontEnd] = {
    **dict.fromkeys(("dcase2024-baseline", "sscp-mobile", "sscp-s1", "sscp-s3"), _BASELINE),
    **dict.fromkeys(("bcres2-24", "bcres2-24-deep", "bcres2-80"), _GZHU),
}
