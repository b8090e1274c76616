"""Writers: a job's result out, in the media type that was asked for, as a stream."""
