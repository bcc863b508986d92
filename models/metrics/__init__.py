"""How near a result is to the truth: one module a family of figures, numpy and scikit-learn only.

A figure whose denominator is empty is None, never 0 or 1: nothing was there to be right or wrong about.

- `boundaries`: precision, recall and F1 of shot boundaries
- `overlap`: intersection over union of masks, and which mask a layer shows
- `clustering`: purity, completeness, adjusted Rand index
- `classes`: precision and recall a class
- `keypoints`: share of correct keypoints
- `psnr`: peak signal-to-noise ratio, pooled over pictures
- `truth`: the exact truth of a rendered film
- `figure`: a value with its support, direction and unit
"""
