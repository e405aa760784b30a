def cases(rig, full):
    return ()
