package origin

import "time"

// Listing is one page of a folder of originals. Names are whole names of the source, sorted.
type Listing struct {
	Folders []string // each ends with "/"
	Objects []Listed
	Next    string // ListRequest.After of the next page; "" on the last
}

// Listed is an original.
type Listed struct {
	Name     string
	Bytes    int64
	Modified time.Time
}

// ListRequest asks for a page of a folder.
type ListRequest struct {
	Folder string // "" or a name that ends with "/"
	After  string // Listing.Next of the page before; "" is the first page
	Limit  int    // maximum number of folders and objects, 1 or more
}
