"""Training FG-Net: corpora, targets, rendered faces, stages. Stands alone: needs the extra ``train``, and not py-feat."""
