"""Tensors to frames: schedules, sampling, the clip loop, decoding."""
