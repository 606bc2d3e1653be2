"""The Meshdrop daemon: a share whose folders come back as meshes.

Flow of a job: watcher -> intake -> store -> supervisor -> executor -> worker -> recon.reconstruct -> publish.
The daemon's own process decodes no picture, opens no socket and loads neither torch nor numpy; all of that
happens in the worker process, which may die without harm.
"""
