"""A little video: the example portrait moving slowly, then a cut to an empty room; speech throughout."""

from pathlib import Path

import av
import numpy as np
from PIL import Image

ASSETS = Path(__file__).parent.parent.parent / "hallo_cli" / "assets" / "examples"


def write_video(path: Path, *, n_face: int = 40, n_empty: int = 10, side: int = 256) -> Path:
    portrait = Image.open(ASSETS / "portrait_astronaut.png").convert("RGB").crop((90, 0, 390, 300))
    picture = np.asarray(portrait.resize((side + 8, side + 8)))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "12"})
        video.width = video.height = side
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for index in range(n_face + n_empty):
            shift = abs(index % 16 - 8)
            frame = picture[shift : shift + side, shift : shift + side]
            if index >= n_face:
                frame = np.full_like(frame, 128)
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(video.encode())
        n_samples = (n_face + n_empty) * 640
        wave = (0.2 * np.sin(np.arange(n_samples) * 0.05)).astype(np.float32)
        for start in range(0, n_samples, 1024):
            block = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].copy(), "fltp", "mono")
            block.sample_rate, block.pts = 16000, start
            container.mux(sound.encode(block))
        container.mux(sound.encode())
    return path
