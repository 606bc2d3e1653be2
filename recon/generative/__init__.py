"""What the ReconViaGen adapter is built from: its installation, the modules it runs in, what replaces native parts.

Nothing here imports ``trellis``; ``recon.models.reconviagen`` does, inside ``UpstreamModules.active``.

installation -> upstream -> loading -> inference      what is on the disk, its modules, its weights, one run
attention, sparse_convolution                         PyTorch in place of flash_attn and spconv
views                                                 photographs as the authors crop them
"""
