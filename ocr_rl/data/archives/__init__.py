"""Pages as archives keep them: PAGE-XML, ALTO and hOCR, in folders, METS and zip exports."""
