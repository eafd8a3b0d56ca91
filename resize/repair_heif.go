package resize

import (
	"encoding/binary"
	"slices"
)

// repairHEIF returns a file with only the primary image of b, its tiles and its alpha, and with only
// the properties that decoding needs. libheif 1.15 refuses a file for references that no pixel
// needs (cdsc of two items, as iOS 18 writes it) and for appended data, and it loses an alpha
// image that has not the rotation, mirroring and crop of the image. Those are left out, because
// the caller applies what the Header says. It returns b if the tables contradict each other.
func repairHEIF(b []byte, h Header) []byte {
	f, err := openBMFF(h.Kind, b)
	if err != nil {
		return b
	}
	items, err := f.items()
	if err != nil || items[f.primary] == nil {
		return b
	}
	w := heifWriter{f: f, items: items, ids: map[int]int{}}
	if w.props, err = f.properties(); err != nil {
		return b
	}
	w.add(f.primary, true, 0)
	for _, id := range slices.Clone(w.order) { // the image, and tiles with an alpha of their own
		if alpha := f.alphaOf(items, w.props, id); alpha != 0 && w.ids[alpha] == 0 {
			w.add(alpha, id == f.primary, 0)
			w.refs = append(w.refs, heifReference{"auxl", alpha, []int{id}})
		}
	}
	if w.size > len(b) || len(w.order) >= 1<<16 || w.broken {
		return b
	}
	return w.file()
}

// heifItem is one item and its entries in the tables.
type heifItem struct {
	typ        string
	properties []int        // indices, from 1
	parts      [][]byte     // its content
	sources    []int        // dimg: the tiles of a grid
	auxiliary  map[int]bool // auxl: the items that it is auxiliary to
}

// items reads the tables of all items.
func (f bmff) items() (map[int]*heifItem, error) {
	items := map[int]*heifItem{}
	f.eachItem(func(id int, typ, _ []byte) {
		if items[id] == nil {
			items[id] = &heifItem{typ: string(typ)}
		}
	})
	err := f.eachExtent(func(id int, inIdat bool, offset, length uint64) error {
		from := f.file
		if inIdat {
			from = f.idat
		}
		if size := uint64(len(from)); offset > size || length > size-offset {
			return corrupt(f.kind, "truncated within an image")
		}
		if item := items[id]; item != nil {
			item.parts = append(item.parts, from[offset:offset+length])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.eachReference(func(typ string, from int, to []int) {
		item := items[from]
		switch {
		case item == nil:
		case typ == "dimg" && item.sources == nil:
			item.sources = to
		case typ == "auxl":
			item.auxiliary = map[int]bool{}
			for _, id := range to {
				item.auxiliary[id] = true
			}
		}
	})
	return items, f.eachAssociationOf(func(id, index int) error {
		if item := items[id]; item != nil {
			item.properties = append(item.properties, index)
		}
		return nil
	})
}

// alphaOf returns the alpha image of an item, or 0: the one with the lowest ID.
func (f bmff) alphaOf(items map[int]*heifItem, props []property, id int) (alpha int) {
	for other, item := range items {
		if !item.auxiliary[id] || alpha != 0 && other > alpha {
			continue
		}
		for _, index := range item.properties {
			if index >= 1 && index <= len(props) && props[index-1].alpha() {
				alpha = other
			}
		}
	}
	return alpha
}

// codedSize returns the size of an item, without its transformations.
func (item *heifItem) codedSize(props []property) (width, height int) {
	for _, index := range item.properties {
		if index < 1 || index > len(props) {
			continue
		}
		if p := props[index-1]; string(p.typ) == "ispe" && len(p.body) >= 12 {
			return be32(p.body[4:]), be32(p.body[8:])
		}
	}
	return 0, 0
}

// depth returns the bits per sample of an item, or 0 if it is not a coded image.
func (item *heifItem) depth(props []property) int {
	var h Header
	for _, index := range item.properties {
		if index < 1 || index > len(props) {
			continue
		}
		if p := props[index-1]; string(p.typ) == "av1C" || string(p.typ) == "hvcC" {
			h.BitDepth = 8
			_ = h.readProperty(p) // which has no errors for these
		}
	}
	return h.BitDepth
}

type heifReference struct {
	typ  string
	from int
	to   []int
}

// A heifWriter writes the items that have been added, with IDs from 1.
type heifWriter struct {
	f      bmff
	items  map[int]*heifItem
	props  []property
	order  []int       // the added items
	ids    map[int]int // their new IDs
	bare   map[int]bool
	refs   []heifReference
	size   int // of their content
	broken bool
}

// add adds an item and, recursively, the items that it is made of. A bare item loses its
// transformations.
func (w *heifWriter) add(id int, bare bool, depth int) {
	item := w.items[id]
	if item == nil || depth > 3 || len(w.order) >= 1<<16 {
		w.broken = true
		return
	}
	if w.ids[id] != 0 {
		return
	}
	w.order = append(w.order, id)
	w.ids[id] = len(w.order)
	if w.bare == nil {
		w.bare = map[int]bool{}
	}
	w.bare[id] = bare
	for _, part := range item.parts {
		w.size += len(part)
	}
	if len(item.sources) > 0 {
		w.refs = append(w.refs, heifReference{"dimg", id, item.sources})
		for _, source := range item.sources {
			// libavif 0.11 gives each tile of a grid the rotation of the whole, and ignores it there.
			w.add(source, item.typ == "grid", depth+1)
		}
	}
}

// heifEssential are the properties that are kept; the value says whether decoders must know them.
var heifEssential = map[string]bool{
	"av1C": true, "hvcC": true, "a1op": true, "lsel": true, "clap": true, "irot": true, "imir": true,
	"ispe": false, "pixi": false, "colr": false, "auxC": false, "pasp": false, "a1lx": false,
}

// file returns the file.
func (w *heifWriter) file() []byte {
	be := binary.BigEndian
	brand := "heic"
	if w.f.kind == KindAVIF {
		brand = "avif"
	}
	head := heifBox(nil, "ftyp", []byte("mif1\x00\x00\x00\x00mif1miaf"+brand))
	infos := be.AppendUint16(make([]byte, 4), uint16(len(w.order)))
	associations := be.AppendUint32([]byte{0, 0, 0, 1}, uint32(len(w.order)))
	var ipco []byte
	known := map[int]int{}
	for _, id := range w.order {
		item := w.items[id]
		info := be.AppendUint16([]byte{2, 0, 0, 0}, uint16(w.ids[id]))
		infos = heifBox(infos, "infe", append(append(info, 0, 0), item.typ+"\x00"...))
		var indices []byte
		for _, index := range item.properties {
			if index < 1 || index > len(w.props) {
				continue
			}
			typ := string(w.props[index-1].typ)
			essential, kept := heifEssential[typ]
			if !kept || w.bare[id] && (typ == "clap" || typ == "irot" || typ == "imir") || len(indices) >= 2*255 {
				continue
			}
			if known[index] == 0 {
				known[index] = len(known) + 1
				ipco = heifBox(ipco, typ, w.props[index-1].body)
			}
			n := uint16(known[index])
			if essential {
				n |= 1 << 15
			}
			indices = be.AppendUint16(indices, n)
		}
		associations = be.AppendUint16(associations, uint16(w.ids[id]))
		associations = append(append(associations, byte(len(indices)/2)), indices...)
	}
	iref := make([]byte, 4)
	for _, ref := range w.refs {
		body := be.AppendUint16(be.AppendUint16(nil, uint16(w.ids[ref.from])), uint16(len(ref.to)))
		for _, id := range ref.to {
			body = be.AppendUint16(body, uint16(w.ids[id]))
		}
		iref = heifBox(iref, ref.typ, body)
	}
	meta := func(at int) []byte {
		iloc := be.AppendUint16([]byte{0, 0, 0, 0, 0x44, 0}, uint16(len(w.order)))
		for _, id := range w.order {
			length := 0
			for _, part := range w.items[id].parts {
				length += len(part)
			}
			iloc = append(be.AppendUint16(iloc, uint16(w.ids[id])), 0, 0, 0, 1)
			iloc = be.AppendUint32(be.AppendUint32(iloc, uint32(at)), uint32(length))
			at += length
		}
		m := heifBox(make([]byte, 4), "hdlr", slices.Concat(make([]byte, 8), []byte("pict"), make([]byte, 13)))
		m = heifBox(m, "pitm", be.AppendUint16(make([]byte, 4), 1))
		m = heifBox(m, "iloc", iloc)
		m = heifBox(m, "iinf", infos)
		if len(w.refs) > 0 {
			m = heifBox(m, "iref", iref)
		}
		return heifBox(nil, "meta", heifBox(m, "iprp", heifBox(heifBox(nil, "ipco", ipco), "ipma", associations)))
	}
	out := append(make([]byte, 0, w.size+len(head)+2*len(meta(0))), head...)
	out = append(out, meta(len(head)+len(meta(0))+8)...)
	out = append(be.AppendUint32(out, uint32(8+w.size)), "mdat"...)
	for _, id := range w.order {
		for _, part := range w.items[id].parts {
			out = append(out, part...)
		}
	}
	return out
}

// heifBox appends a box.
func heifBox(b []byte, typ string, body []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(b, uint32(8+len(body))), typ...), body...)
}
