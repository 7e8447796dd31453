"""Files to arrays and back: pictures, sound, video. No torch."""
