"""How the embedded model is made: synthetic corpus, speech encoder, autoencoder."""
