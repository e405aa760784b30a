def cases(rig, full):
    return ()
WITHOUT = "none"
