"""What neighbours get of us: blobs and pieces, as many at once as our manners allow."""
