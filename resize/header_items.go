package resize

// The tables of AVIF and HEIC that give the type, properties, references and location of each
// item. Each lookup walks its table from the start: files have about ten items, and a hostile
// file with many costs one pass over its bytes.

// eachItem calls do with the ID and type of each item, and with the rest of its entry.
func (f bmff) eachItem(do func(id int, typ, after []byte)) {
	c := cursor{b: f.iinf}
	if c.number(4)>>24 == 0 {
		c.number(2)
	} else {
		c.number(4)
	}
	for rest := c.b; len(rest) > 0; {
		typ, body, after, err := nextBox(f.kind, rest)
		if err != nil {
			return
		}
		rest = after
		if string(typ) != "infe" {
			continue
		}
		c := cursor{b: body}
		idSize := 2
		switch c.number(4) >> 24 {
		case 2:
		case 3:
			idSize = 4
		default:
			continue // versions before HEIF have no type
		}
		id := int(c.number(idSize))
		c.number(2) // protection
		if len(c.b) >= 4 {
			do(id, c.b[:4], c.b[4:])
		}
	}
}

// itemType returns the type of an item, "" if the item does not exist.
func (f bmff) itemType(id int) (typ string) {
	f.eachItem(func(other int, of, _ []byte) {
		if other == id && typ == "" {
			typ = string(of)
		}
	})
	return typ
}

// itemBytes returns the bytes of an item, or nil if they are not in the file or exceed maxItem.
func (f bmff) itemBytes(id int) (b []byte) {
	const maxItem = 1 << 20
	err := f.eachExtent(func(other int, inIdat bool, offset, length uint64) error {
		from := f.file
		if inIdat {
			from = f.idat
		}
		if other != id {
			return nil
		}
		if size := uint64(len(from)); offset > size || length > size-offset || length > uint64(maxItem-len(b)) {
			return corrupt(f.kind, "an item extends beyond the file")
		}
		b = append(b, from[offset:offset+length]...)
		return nil
	})
	if err != nil {
		return nil
	}
	return b
}

// itemHead returns the first bytes of an item, at most limit, fewer if the file is truncated.
func (f bmff) itemHead(id, limit int) (b []byte) {
	_ = f.eachExtent(func(other int, inIdat bool, offset, length uint64) error {
		from := f.file
		if inIdat {
			from = f.idat
		}
		if other != id || offset > uint64(len(from)) {
			return nil
		}
		from = from[offset:]
		b = append(b, from[:min(length, uint64(len(from)), uint64(limit-len(b)))]...)
		return nil
	})
	return b
}

// references returns the first item that an item refers to, and the number of references.
func (f bmff) references(typ string, from int) (first, count int) {
	f.eachReference(func(other string, id int, to []int) {
		if count == 0 && other == typ && id == from && len(to) > 0 {
			first, count = to[0], len(to)
		}
	})
	return first, count
}

// eachReference calls do with the type, the source and the targets of each reference.
func (f bmff) eachReference(do func(typ string, from int, to []int)) {
	c := cursor{b: f.iref}
	idSize := 2
	if c.number(4)>>24 != 0 {
		idSize = 4
	}
	for rest := c.b; len(rest) > 0; {
		typ, body, after, err := nextBox(f.kind, rest)
		if err != nil {
			return
		}
		rest = after
		c := cursor{b: body}
		from, count := int(c.number(idSize)), int(c.number(2))
		if c.short || len(c.b) < count*idSize {
			continue
		}
		to := make([]int, count)
		for i := range to {
			to[i] = int(c.number(idSize))
		}
		do(string(typ), from, to)
	}
}

// eachAssociation calls do with the 1-based index of each property of an item, in order.
func (f bmff) eachAssociation(id int, do func(index int) error) error {
	return f.eachAssociationOf(func(item, index int) error {
		if item != id {
			return nil
		}
		return do(index)
	})
}

// eachAssociationOf calls do with each item and the 1-based index of each of its properties.
func (f bmff) eachAssociationOf(do func(item, index int) error) error {
	for rest := f.iprp; len(rest) > 0; {
		typ, body, after, err := nextBox(f.kind, rest)
		if err != nil {
			return err
		}
		rest = after
		if string(typ) != "ipma" {
			continue
		}
		c := cursor{b: body}
		flags := c.number(4)
		idSize, size := 2, 1
		if flags>>24 != 0 {
			idSize = 4
		}
		if flags&1 != 0 {
			size = 2
		}
		for range c.number(4) {
			item, count := int(c.number(idSize)), int(c.number(1))
			for range count {
				index := int(c.number(size)) &^ (1 << (8*size - 1)) // without the "essential" bit
				if c.short {
					break
				}
				if err := do(item, index); err != nil {
					return err
				}
			}
			if c.short {
				return corrupt(f.kind, "the list of properties is truncated")
			}
		}
	}
	return nil
}

// eachExtent calls do with each extent of each item. It skips extents in other files or in
// other items, and those that extend to the end of the file by default.
func (f bmff) eachExtent(do func(id int, inIdat bool, offset, length uint64) error) error {
	c := cursor{b: f.iloc}
	version := c.number(4) >> 24
	sizes := c.number(2)
	offsetSize, lengthSize, baseSize, indexSize := int(sizes>>12), int(sizes>>8&15), int(sizes>>4&15), int(sizes&15)
	if version == 0 {
		indexSize = 0
	}
	if max(offsetSize, lengthSize, baseSize, indexSize) > 8 {
		return corrupt(f.kind, "the list of locations has integers of more than 8 bytes")
	}
	idSize := 2
	if version >= 2 {
		idSize = 4
	}
	for range c.number(idSize) {
		id := int(c.number(idSize))
		method := uint64(0)
		if version > 0 {
			method = c.number(2) & 15
		}
		elsewhere := c.number(2) != 0 || method > 1
		base := c.number(baseSize)
		extents := c.number(2)
		if offsetSize+lengthSize+indexSize == 0 {
			extents = min(extents, 1) // they take no bytes, so the table's length does not bound them
		}
		for range extents {
			c.number(indexSize)
			offset, length := base+c.number(offsetSize), c.number(lengthSize)
			if c.short {
				break
			}
			if elsewhere || length == 0 {
				continue
			}
			if offset < base {
				return corrupt(f.kind, "an item begins beyond any file")
			}
			if err := do(id, method == 1, offset, length); err != nil {
				return err
			}
		}
		if c.short {
			return corrupt(f.kind, "the list of locations is truncated")
		}
	}
	return nil
}

// sequence returns the largest number of frames and the largest size of the image tracks of a
// sequence (ISO/IEC 14496-12, 8.3 to 8.7).
func (f bmff) sequence() (frames, width, height int) {
	eachBox(f.moov, "trak", func(trak []byte) {
		eachBox(trak, "tkhd", func(b []byte) {
			if len(b) >= 8 { // the last two integers, 16.16 fixed point
				width = max(width, be32(b[len(b)-8:])>>16)
				height = max(height, be32(b[len(b)-4:])>>16)
			}
		})
		eachBox(trak, "mdia", func(mdia []byte) {
			pictures := false
			eachBox(mdia, "hdlr", func(b []byte) {
				pictures = len(b) >= 12 && (string(b[8:12]) == "pict" || string(b[8:12]) == "vide")
			})
			if !pictures {
				return
			}
			eachBox(mdia, "minf", func(minf []byte) {
				eachBox(minf, "stbl", func(stbl []byte) {
					eachBox(stbl, "stsz", func(b []byte) {
						if len(b) >= 12 {
							frames = max(frames, be32(b[8:]))
						}
					})
					eachBox(stbl, "stsd", func(b []byte) {
						if len(b) >= 44 { // in the first entry
							width = max(width, be16(b[40:]))
							height = max(height, be16(b[42:]))
						}
					})
				})
			})
		})
	})
	return frames, width, height
}

// eachBox calls do with the body of each box of type want in b, up to the first broken one.
func eachBox(b []byte, want string, do func(body []byte)) {
	for len(b) > 0 {
		typ, body, rest, err := nextBox(NoKind, b)
		if err != nil {
			return
		}
		if string(typ) == want {
			do(body)
		}
		b = rest
	}
}
